"""Files of others: folders of models, local or on the hub, and word vectors."""

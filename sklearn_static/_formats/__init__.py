"""Third-party file formats: folders of models, local or on the hub, and word vectors."""

"""Third-party file formats: folders of models, local or on the Hub, and word vectors."""

"""Who asks: a model server for development, a client without TensorFlow, and the query command."""

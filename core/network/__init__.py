"""Networks in Keras: how to get them, the layer catalogue, activations, cutting. All that needs Keras is here."""

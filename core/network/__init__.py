"""What the data flows through: backbones, the layer catalogue, activations. All that needs Keras is here."""

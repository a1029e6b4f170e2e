"""What goes in: labelled images, ready-made features, and seeded ways to choose among them."""

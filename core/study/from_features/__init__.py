"""Studies of ready-made features, of any framework."""

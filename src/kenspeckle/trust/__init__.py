"""How well it will do on new images, and why it answers what it answers."""

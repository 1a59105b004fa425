"""Jobs of Azaion Training."""

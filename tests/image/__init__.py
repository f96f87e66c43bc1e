"""What runs the program without a checkout: the image, the compose file, the workflows of a hosted CI."""

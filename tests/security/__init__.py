"""What is promised about security, shown with real servers."""

"""One outside thing per module; its errors become ours at this border."""

"""The author of revisions that no version control ever made: folders and installed packages."""

AUTHOR = b"Stackmill <stackmill@localhost>"

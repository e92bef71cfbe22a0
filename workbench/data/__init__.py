"""Files that come with the package, with their licences and how they were made (README.md)."""

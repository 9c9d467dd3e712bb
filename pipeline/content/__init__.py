"""What one file is: its text, name, language, quality signals; pure functions, Arrow in, Arrow out."""

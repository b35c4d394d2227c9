"""How hard a query is for which model: features of its text, and what they predict."""

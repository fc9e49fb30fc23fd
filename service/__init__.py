"""Who asked, when, and where the answer is kept: HTTP, SQL, processes, pages."""

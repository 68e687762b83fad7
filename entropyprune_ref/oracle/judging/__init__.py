"""The verdict: laws tried until they break or enough cases have passed, and the report of it."""

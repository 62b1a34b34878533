"""Random and mutated input for everything that reads bytes from outside (service.md section 7)."""

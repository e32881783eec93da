// Keeps the target in the package until its first test.

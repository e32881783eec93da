"""Parts of `Benchmarks/compare`: what is measured (works), who is measured (peers), and how."""

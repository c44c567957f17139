def own_lines(results): return []

"""The benchmark suite: cases, their contenders in fresh processes by turns, and what came of it."""

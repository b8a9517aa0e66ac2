"""What the commands in `tools/` do, a module each. They read configs; nothing below them does but `detector.build` and
`detector.checkpoint`."""

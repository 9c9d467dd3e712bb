"""Licenses and opt-outs: what evidence says about a file, what a policy permits, whose code stays out.

Pure functions over bytes and Arrow; the one module that touches the world is the adapter `scancode`. Read
`evidence` (what one file says), then `attribution` (what that means for each directory) and `policy` (may it
be used).
"""

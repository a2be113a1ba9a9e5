"""Cases of a rehearsal on the real hosts of a lab.

cases     which there are, which of them are chosen, and how each fault is brought about
ground    the lab: put back to its first state, broken, mended, and looked at past every driver of ours
playing   one case: load, a conductor as a process of its own, the fault, the answers
judging   what came of it
rehearsing  all of them, and what they come to
"""

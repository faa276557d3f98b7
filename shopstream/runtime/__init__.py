"""The consumers as processes: a parent that decides (`crew`) and acts (`supervisor`), and the child.

Parent and child talk in lines of JSON (`messages`) over a socket that only they have; it also carries life: a child
whose parent is gone ends at once, as after a crash.
"""

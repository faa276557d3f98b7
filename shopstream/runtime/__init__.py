"""Runs the consumers as worker processes: the parent decides (`coordinator`) and acts (`supervisor`).

Parent and worker exchange lines of JSON (`protocol`) over a private socket. The socket also signals liveness: a worker
whose parent is gone ends immediately, as after a crash.
"""

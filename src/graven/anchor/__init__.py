"""What lies outside the operator's control and fixes a checkpoint: witnesses (C2SP tlog-witness), asked by the log.

`policies` reads the policy and keeps a copy of every one a log was run with; `witness_client` asks one witness; `panel`
asks all of them at once and says whether the quorum is met. The log decides what follows (`log/publish.py`).
"""

"""Pulling audit logs from services that only give them when they are asked, over HTTP.

preset.py     what a service's log looks like: a table in TOML, `presets/*.toml` or a user's own
auth.py       how a request shows who asks: a token, OAuth client credentials, signed JWTs; secrets are files
exchange.py   one request: bounded, never redirected, and when to ask again
page.py       a page of an answer: records as they stand in it, and where the next page is
puller.py     `PullSource`: windows of time or a cursor, page by page, each record once
"""

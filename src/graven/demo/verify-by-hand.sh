#!/usr/bin/env bash
# Checks evidence of Graven with sha256sum, base64, openssl and the shell: no Graven, no Python.
# docs/verify-by-hand.md explains each step and shows the same lines.
#
#   bash verify-by-hand.sh evidence.json VKEY
#
# VKEY is the log's Ed25519 verifier key, known from elsewhere: keys inside the file prove nothing.

# Step 0: what is checked, by which key, and three small tools
set -euo pipefail
evidence=$1 vkey=$2
work=$(mktemp -d) && trap 'rm -r "$work"' EXIT
sha() { sha256sum | cut -c 1-64; }
hex() { od -An -v -tx1 | tr -d ' \n'; }
unhex() { printf "$(sed 's/../\\x&/g')"; }
refuse() { echo "REFUSED: $1" >&2; exit 1; }

# Step 1: the parts of the document
unescape() { printf '%b' "$(sed 's/\\\\/\\x5c/g; s/\\"/"/g')"; }
top() { sed -n "s/^  \"$1\": \"\{0,1\}\(.*[^\",]\)\"\{0,1\},\$/\1/p" "$evidence"; }
inner() { sed -n "/^  \"$1\": {\$/,/^  }/ s/^    \"$2\": \"\(.*\)\",\{0,1\}\$/\1/p" "$evidence"; }
top head | unescape > "$work/head"
top proof | unescape > "$work/proof"
sed '1,/^$/d' "$work/proof" > "$work/checkpoint"
sed -n '1,/^$/p' "$work/proof" > "$work/path"
index=$(sed -n 's/^index //p' "$work/path")
[ "$index" = "$(top index)" ] || refuse "the proof is for index $index, the document for index $(top index)"

# Step 2: the digests (first and second sha256sum)
inner event bytes | unescape > "$work/event"
if [ -s "$work/event" ]; then
  d_event=$({ inner event salt | base64 -d; cat "$work/event"; } | sha)
else
  d_event=$(inner event digest | base64 -d | hex)
fi
if [ "$(top raw)" = null ]; then
  d_raw=$(printf '%064d' 0)
elif [ -n "$(inner raw salt)" ]; then
  d_raw=$({ inner raw salt | base64 -d; inner raw base64 | base64 -d; } | sha)
else
  d_raw=$(inner raw digest | base64 -d | hex)
fi
echo "d_event  $d_event"
echo "d_raw    $d_raw"

# Step 3: the entry, and its leaf in the tree (third and fourth sha256sum)
entry=$({ cat "$work/head"; unhex <<< "$d_event"; unhex <<< "$d_raw"; } | sha)
leaf=$({ printf '\0'; unhex <<< "$entry"; } | sha)
echo "entry    $entry"
echo "leaf     $leaf"

# Step 4: from the leaf to the root (one sha256sum a level)
origin=$(sed -n 1p "$work/checkpoint")
size=$(sed -n 2p "$work/checkpoint")
root=$(sed -n 3p "$work/checkpoint" | base64 -d | hex)
node=$leaf at=$index last=$((size - 1))
for sibling in $(sed '1,/^index /d' "$work/path"); do
  sibling=$(base64 -d <<< "$sibling" | hex)
  [ "$last" -gt 0 ] || refuse "the path is too long"
  if [ $((at % 2)) = 1 ] || [ "$at" = "$last" ]; then
    node=$({ printf '\1'; unhex <<< "$sibling$node"; } | sha)
    while [ $((at % 2)) = 0 ] && [ "$at" -gt 0 ]; do at=$((at / 2)) last=$((last / 2)); done
  else
    node=$({ printf '\1'; unhex <<< "$node$sibling"; } | sha)
  fi
  at=$((at / 2)) last=$((last / 2))
  echo "level    $node"
done
[ "$last" = 0 ] || refuse "the path is too short"
[ "$node" = "$root" ] || refuse "the path leads to another root than the checkpoint's"
echo "root     $root, as in the checkpoint"

# Step 5: the key
name=${vkey%%+*} rest=${vkey#*+}
key_id=${rest%%+*} material=${rest#*+}
[ "$name" = "$origin" ] || refuse "the key is of $name, the checkpoint of $origin"
[ "$(base64 -d <<< "$material" | hex | cut -c 1-2)" = 01 ] || refuse "the key is no Ed25519 key"
[ "$({ printf '%s\n' "$name"; base64 -d <<< "$material"; } | sha | cut -c 1-8)" = "$key_id" ] || refuse "the key is damaged"
{
  echo "-----BEGIN PUBLIC KEY-----"
  { unhex <<< 302a300506032b6570032100; base64 -d <<< "$material" | tail -c 32; } | base64
  echo "-----END PUBLIC KEY-----"
} > "$work/key.pem"

# Step 6: the signature over the three lines of the checkpoint
head -n 3 "$work/checkpoint" > "$work/text"
[ -z "$(sed -n 4p "$work/checkpoint")" ] || refuse "a checkpoint with more than three lines"
sed '1,4d' "$work/checkpoint" | while read -r _ signer signature; do
  base64 -d <<< "$signature" > "$work/blob"
  if [ "$signer" = "$name" ] && [ "$(head -c 4 "$work/blob" | hex)" = "$key_id" ]; then
    tail -c +5 "$work/blob" > "$work/signature"
  fi
done
[ -e "$work/signature" ] || refuse "the key has not signed this checkpoint"
openssl pkeyutl -verify -pubin -inkey "$work/key.pem" -rawin -in "$work/text" -sigfile "$work/signature"
echo "proved   index $index of $origin, in its tree of $size entries"
[ ! -s "$work/event" ] || { cat -v "$work/event" && echo; }

#!/bin/sh
# The pinned Node links to libatomic, which a minimal Debian lacks: the one thing that cannot be said in JavaScript.
if ! node --version >/dev/null 2>&1; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ ! -e "/usr/lib/$(uname -m)-linux-gnu/libatomic.so.1" ]; then
    echo 'Installing libatomic1 with apt-get: Node links to it …'
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libatomic1 >/dev/null
  fi
  if ! node --version >/dev/null; then
    echo "Node does not start. If libatomic is missing: sudo apt-get install -y libatomic1   (or your system's own way)"
    exit 1
  fi
fi
exec node "$@"

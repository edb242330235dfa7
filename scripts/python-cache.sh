# To be sourced: what Python compiles of its modules is kept in target/, whatever else this machine has set, so that a server
# that is started a hundred times is not compiled a hundred times.
unset PYTHONDONTWRITEBYTECODE
PYTHONPYCACHEPREFIX=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/target/python-cache
export PYTHONPYCACHEPREFIX

#compdef tuplenet tpctl tpcnm
# Completion of tuplenet and its other names for zsh: source it after compinit, or install
# it as _tuplenet in a directory of $fpath.

_tuplenet() {
    local -a candidates
    candidates=("${(@f)$("${(@Q)words[1,CURRENT]}" --generate-bash-completion 2>/dev/null)}")
    candidates=(${candidates:#})
    (($#candidates)) || { _files; return }
    compadd -S '' -- ${(M)candidates:#*=}
    compadd -- ${candidates:#*=}
}

if [[ $funcstack[1] == _tuplenet ]]; then
    _tuplenet "$@"
else
    compdef _tuplenet tuplenet tpctl tpcnm
fi

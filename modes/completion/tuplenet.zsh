#compdef tuplenet tpctl
# Completion of tuplenet and tpctl for zsh: source it after compinit, or install
# it as _tuplenet in a directory of $fpath.

_tuplenet() {
    local -a line candidates
    line=("${(@)words[1,CURRENT-1]}")
    [[ ${words[CURRENT]} == -* ]] && line+=("${words[CURRENT]}")
    candidates=("${(@f)$("${line[@]}" --generate-bash-completion 2>/dev/null)}")
    compadd -a candidates || _files
}

if [[ $funcstack[1] == _tuplenet ]]; then
    _tuplenet "$@"
else
    compdef _tuplenet tuplenet tpctl
fi

# Completion of tuplenet and tpctl for bash: source it, or install it as
# /usr/share/bash-completion/completions/tuplenet and link tpctl to it.

_tuplenet() {
    local current=${COMP_WORDS[COMP_CWORD]}
    local line=("${COMP_WORDS[@]:0:COMP_CWORD}")
    [[ $current == -* ]] && line+=("$current")
    mapfile -t COMPREPLY < <(compgen -W "$("${line[@]}" --generate-bash-completion 2>/dev/null)" -- "$current")
}

complete -o default -F _tuplenet tuplenet tpctl

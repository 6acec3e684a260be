# Completion of tuplenet, tpctl and tpcnm for bash: source it, or install it as
# /usr/share/bash-completion/completions/tuplenet and link the others to it.

_tuplenet() {
    # Not COMP_WORDS: there bash cuts addresses at their colons.
    local line=${COMP_LINE:0:COMP_POINT} words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current=${words[-1]} word
    # What stands before the last colon or equals sign stays as it is.
    local before=${current%"${current##*[:=]}"}
    COMPREPLY=()
    while IFS= read -r word; do
        [[ $word == *= ]] && compopt -o nospace
        COMPREPLY+=("$(printf %q "${word#"$before"}")")
    done < <("${words[@]}" --generate-bash-completion 2>/dev/null)
}

complete -o default -F _tuplenet tuplenet tpctl tpcnm

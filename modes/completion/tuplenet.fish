# Completion of tuplenet, tpctl and tpcnm for fish: source it, or install it as
# tuplenet.fish in a completions directory and link the others to it.

function __tuplenet_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words "$current" --generate-bash-completion 2>/dev/null
end

complete -c tuplenet -f -a '(__tuplenet_complete)'
complete -c tpctl -f -a '(__tuplenet_complete)'
complete -c tpcnm -a '(__tuplenet_complete)'

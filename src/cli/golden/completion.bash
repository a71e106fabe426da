# bash completion for tool. Load it: source <(tool completion bash)
_tool() {
  local cur=${COMP_WORDS[COMP_CWORD]} path='tool' skip='' word='' words='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ -n $skip ]]; then skip=''; continue; fi
    word=${COMP_WORDS[i]}
    case $word in
      --) compopt -o default 2>/dev/null; return ;;
      -*) if _tool_takes_value "$path $word"; then skip=1; fi ;;
      *) case "$path $word" in
        'tool thing') path=$path' '$word ;;
        'tool thing create') path=$path' '$word ;;
        'tool thing list') path=$path' '$word ;;
        'tool api-key') path=$path' '$word ;;
        'tool api-key list') path=$path' '$word ;;
      esac ;;
    esac
  done
  if [[ -n $skip ]]; then _tool_value "$path $word"; return; fi
  case $path in
    'tool') words='thing api-key -o --output --config-file -h --help' ;;
    'tool thing') words='create list -o --output --config-file -h --help' ;;
    'tool thing create') words='-e --env --wait -o --output --config-file -h --help' ;;
    'tool thing list') words='-o --output --config-file -h --help' ;;
    'tool api-key') words='list -o --output --config-file -h --help' ;;
    'tool api-key list') words='-o --output --config-file -h --help' ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
_tool_value() {
  case $1 in
    *' -o'|*' --output') COMPREPLY=($(compgen -W 'table json' -- "$cur")) ;;
    *' --config-file') compopt -o default 2>/dev/null ;;
  esac
}
_tool_takes_value() {
  case $1 in
    *' -o'|*' --output') ;;
    *' --config-file') ;;
    'tool thing create'' -e'|'tool thing create'' --env') ;;
    *) return 1 ;;
  esac
}
complete -F _tool tool

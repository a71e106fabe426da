#compdef tool
# zsh completion for tool. Load it: source <(tool completion zsh)
_tool() {
  local curcontext="$curcontext" state line
  _arguments -s -C \
    '(-o --output)'{-o,--output}'[It'\''s the \[format\]: a choice]:FORMAT:(table json)' \
    '--config-file[A file]:FILE:_files' \
    '(-h --help)'{-h,--help}'[Show this help]' \
    '1: :->command' '*:: :->words'
  case $state in
    command)
      local -a commands=(
        'thing:Manage things\: all of them'
        'api-key:Keys'
      )
      _describe -t commands command commands ;;
    words)
      case $line[1] in
        thing) _tool_thing ;;
        api-key) _tool_api_key ;;
      esac ;;
  esac
}
_tool_thing() {
  local curcontext="$curcontext" state line
  _arguments -s -C \
    '(-o --output)'{-o,--output}'[It'\''s the \[format\]: a choice]:FORMAT:(table json)' \
    '--config-file[A file]:FILE:_files' \
    '(-h --help)'{-h,--help}'[Show this help]' \
    '1: :->command' '*:: :->words'
  case $state in
    command)
      local -a commands=(
        'create:Create a thing'
        'list:List things'
      )
      _describe -t commands command commands ;;
    words)
      case $line[1] in
        create) _tool_thing_create ;;
        list) _tool_thing_list ;;
      esac ;;
  esac
}
_tool_thing_create() {
  _arguments -s \
    '*'{-e,--env}'[A variable]:NAME=VALUE: ' \
    '--wait[Wait]' \
    '(-o --output)'{-o,--output}'[It'\''s the \[format\]: a choice]:FORMAT:(table json)' \
    '--config-file[A file]:FILE:_files' \
    '(-h --help)'{-h,--help}'[Show this help]' \
    '::NAME: '
}
_tool_thing_list() {
  _arguments -s \
    '(-o --output)'{-o,--output}'[It'\''s the \[format\]: a choice]:FORMAT:(table json)' \
    '--config-file[A file]:FILE:_files' \
    '(-h --help)'{-h,--help}'[Show this help]'
}
_tool_api_key() {
  local curcontext="$curcontext" state line
  _arguments -s -C \
    '(-o --output)'{-o,--output}'[It'\''s the \[format\]: a choice]:FORMAT:(table json)' \
    '--config-file[A file]:FILE:_files' \
    '(-h --help)'{-h,--help}'[Show this help]' \
    '1: :->command' '*:: :->words'
  case $state in
    command)
      local -a commands=(
        'list:List keys'
      )
      _describe -t commands command commands ;;
    words)
      case $line[1] in
        list) _tool_api_key_list ;;
      esac ;;
  esac
}
_tool_api_key_list() {
  _arguments -s \
    '(-o --output)'{-o,--output}'[It'\''s the \[format\]: a choice]:FORMAT:(table json)' \
    '--config-file[A file]:FILE:_files' \
    '(-h --help)'{-h,--help}'[Show this help]'
}
if [ "$funcstack[1]" = '_tool' ]; then _tool "$@"; else compdef _tool tool; fi

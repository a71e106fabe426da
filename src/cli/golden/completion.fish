# fish completion for tool. Load it: tool completion fish | source
function __tool_path
  set -l skip 0
  set -l path
  for word in (commandline -opc)[2..-1]
    if test $skip = 1; set skip 0; continue; end
    if test "$word" = --; return 1; end
    if contains -- $word -o --output --config-file -e --env; set skip 1; continue; end
    string match -q -- '-*' $word; or set -a path $word
  end
  echo "$path"
end
function __tool_exactly
  set -l path (__tool_path); and test "$path" = "$argv"
end
function __tool_at
  set -l path (__tool_path); and string match -q -- "$argv *" "$path "
end
complete -c tool -f
complete -c tool -n '__tool_exactly' -a thing -d 'Manage things: all of them'
complete -c tool -n '__tool_exactly' -a api-key -d 'Keys'
complete -c tool -s o -l output -x -a 'table json' -d 'It\'s the [format]: a choice'
complete -c tool -l config-file -r -F -d 'A file'
complete -c tool -s h -l help -d 'Show this help'
complete -c tool -n '__tool_exactly thing' -a create -d 'Create a thing'
complete -c tool -n '__tool_exactly thing' -a list -d 'List things'
complete -c tool -n '__tool_at thing create' -s e -l env -x -d 'A variable'
complete -c tool -n '__tool_at thing create' -l wait -d 'Wait'
complete -c tool -n '__tool_exactly api-key' -a list -d 'List keys'

# Completion of fish for diode; made by: diode completion fish
function _diode_completion
    set -l line (commandline -cp)
    set -lx DIODE_LINE "$line"
    set -lx _DIODE_COMPLETE fish_complete
    set -l response (diode 2>/dev/null)
    for one in $response
        set -l parts (string split \t -- $one)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case '*'
                string join \t -- $parts[2..]
        end
    end
end
complete --no-files --command diode --arguments "(_diode_completion)"

# Reads docs/design.md (the table of rooms), then sources; see includes.sh. Variables: root, list (of files).

function room_of(file,    name) {
    for (name = file; name != "" && !(name in room); ) {
        sub(/\/$/, "", name)
        if (!sub(/[^\/]*$/, "", name)) name = ""
    }
    return name
}

function folder_of(file) {
    return sub(/[^\/]*$/, "", file) ? file : ""
}

function wrong(file, line, text) {
    print file ":" line ": " text
    failures++
}

# ---- the table ----

function read_table(    line, cell, cells, n, i, k, name, names) {
    while ((getline line < (root "/docs/design.md")) > 0) {
        if (line ~ /^\| room \|/) inside = 1
        else if (inside && line !~ /^\|/) inside = 0
        if (!inside || line !~ /^\| `/) continue
        cells = split(line, cell, "|")
        if (cells != 5) { wrong("docs/design.md", 0, "a row of the table of rooms has no three columns: " line); continue }
        name = cell[2]
        gsub(/[ `]/, "", name)
        if (name in room) wrong("docs/design.md", 0, name " has two rows")
        room[name] = ++rooms
        room_name[rooms] = name
        seen_by[name] = cell[4]
    }
    if (rooms < 10) wrong("docs/design.md", 0, "the table of rooms is gone")
    for (i = 1; i <= rooms; i++) {
        name = room_name[i]
        if (seen_by[name] ~ /^ all but /) everything[name] = 1
        if (seen_by[name] ~ /^ all /) everything[name] = 1
        n = split(seen_by[name], names, "`")
        for (k = 2; k <= n; k += 2) {
            # after "all but" come the exceptions, joined by "and"; what follows a comma is seen
            if (everything[name] && (k == 2 || names[k - 1] ~ /and/)) except[name, names[k]] = 1
            else may_see[name, names[k]] = 1
            listed[names[k]] = 1
        }
    }
    for (name in listed) if (!(name in room) && name !~ /[.](h|def)$/) wrong("docs/design.md", 0, "'" name "' is no room and no file")
}

function may(from, file,    other) {
    other = room_of(file)
    if (other == from) return 1
    if ((from, file) in may_see) return 1
    if (file in room) return everything[from] # a file with a row of its own is no part of its folder's room
    if (everything[from]) return !((from, other) in except)
    return (from, other) in may_see
}

# ---- sources ----

# The file without comments, strings and preprocessor lines, in `code`; its includes are looked at on the way.
function read_source(file,    line, number, name, from, short, comment, at, continued) {
    code = ""
    comment = continued = 0
    from = room_of(file)
    short = from == "kernels/" || from == "runtime/"
    for (number = 1; (getline line < (root "/" file)) > 0; number++) {
        if (!comment && match(line, /^[ \t]*#[ \t]*include[ \t]*"[^"]*"/)) {
            name = substr(line, RSTART, RLENGTH)
            gsub(/^[^"]*"|"$/, "", name)
            look_at(file, number, from, name, short)
        }
        gsub(/'(\\.|[^'\\])'/, "0", line)
        gsub(/\\"/, "", line)
        gsub(/"[^"]*"/, "\"\"", line)
        while (1) {
            if (comment) {
                if (!(at = index(line, "*/"))) { line = ""; break }
                line = substr(line, at + 2)
                comment = 0
            }
            if (!(at = index(line, "/*"))) break
            if (index(substr(line, at + 2), "*/"))
                line = substr(line, 1, at - 1) " " substr(line, at + 2 + index(substr(line, at + 2), "*/") + 1)
            else { line = substr(line, 1, at - 1); comment = 1; break }
        }
        sub(/\/\/.*/, "", line)
        if (continued || line ~ /^[ \t]*#/) { continued = line ~ /\\$/; continue }
        code = code line "\n"
    }
    close(root "/" file)
}

function look_at(file, number, from, name, short,    target) {
    target = name
    if (short) {
        # by a short name in their own folder, or from runtime/ to kernels/
        target = folder_of(file) name
        sub(/^runtime\/\.\.\//, "", target)
        if (!(target in exists)) target = "kernels/" name
    }
    if (!(target in exists)) {
        if (name in generated) return
        if (from != "tests/" || !((folder_of(file) name) in exists || name ~ /^(cuda_|\.\.\/)/ || beside_tests(name)))
            wrong(file, number, "\"" name "\" is not named from the root")
        return
    }
    includes[file] = includes[file] " " target
    if (!may(from, target)) wrong(file, number, from " may not see " target)
    edge[from, (target in listed) && !((target) in room) ? target : room_of(target)] = file ":" number
}

# Stand-ins for headers of CUDA, and kernels that a measurement includes as they are, have their short names.
function beside_tests(name) {
    return ("tests/cuda_sim/" name) in exists || ("kernels/" name) in exists
}

# Splits `code` into declarations and definitions at the outermost level: declares[file], defines[name, file].
function read_functions(file,    n, i, c, depth, statement, body) {
    n = length(code)
    depth = 0
    statement = ""
    for (i = 1; i <= n; i++) {
        c = substr(code, i, 1)
        if (c == "{") {
            if (!depth++) body = is_function(statement)
        } else if (c == "}") {
            if (!--depth) {
                if (body) { defines[function_name(statement), file] = 1; statement = "" }
                else statement = statement "{}"
            }
        } else if (depth) continue
        else if (c == ";") {
            if (is_function(statement) && statement !~ /^[ \n]*(static|typedef)/)
                declares[file] = declares[file] " " function_name(statement)
            statement = ""
        } else statement = statement c
    }
}

function is_function(statement) {
    sub(/__attribute__.*/, "", statement)
    return statement ~ /[A-Za-z0-9_*][ \n*]+[a-z_][A-Za-z0-9_]*[ \n]*\(/ && statement !~ /=/ && statement !~ /^[^(]*\([ \n]*\*/
}

function function_name(statement) {
    sub(/__attribute__.*/, "", statement)
    sub(/[ \n]*\(.*/, "", statement)
    sub(/.*[ \n*]/, "", statement)
    return statement
}

# What a header declares is defined in the file of its name; a map of its folder's: in the folder.
function look_at_header(file,    own, name, names, n, i, key, part, found) {
    own = file
    sub(/h$/, "c", own)
    n = split(declares[file], names, " ")
    for (i = 1; i <= n; i++) {
        name = names[i]
        found = (name, own) in defines || (name, own "u") in defines
        if (!found && (!(own in exists) || file in map))
            for (key in defines) {
                split(key, part, SUBSEP)
                if (part[1] == name && folder_of(part[2]) == folder_of(file)) found = 1
            }
        if (!found) wrong(file, 0, name " is declared here and not defined in " ((own in exists) && !(file in map) ? own : folder_of(file)))
    }
}

# ---- circles ----

function walk_files(file, path,    n, i, names) {
    if (state[file] == 2) return
    if (state[file] == 1) { wrong(file, 0, "headers include each other:" path " " file); return }
    state[file] = 1
    n = split(includes[file], names, " ")
    for (i = 1; i <= n; i++) walk_files(names[i], path " " file)
    state[file] = 2
}

function walk_rooms(name, path,    key, part) {
    if (room_state[name] == 2) return
    if (room_state[name] == 1) { wrong("docs/design.md", 0, "rooms see each other:" path " " name); return }
    room_state[name] = 1
    for (key in edge) {
        split(key, part, SUBSEP)
        if (part[1] == name && part[2] != name && name != "tests/") walk_rooms(part[2], path " " name)
    }
    for (key in may_see) {
        split(key, part, SUBSEP)
        if (part[1] == name) walk_rooms(part[2], path " " name)
    }
    room_state[name] = 2
}

BEGIN {
    # made by the build: the parser's tokens, the devices' rows
    generated["parse.h"] = generated["device_rows.inc"] = 1
    # headers that are the map of their room
    map["planner/plan.h"] = map["planner/check/check.h"] = map["ir/passes/passes.h"] = 1
    map["kernels/kernels.h"] = map["runtime/rt.h"] = map["runtime/internal.h"] = map["codegen/emit.h"] = 1
    map["frontend/language/ast.h"] = map["frontend/language/token.h"] = 1
    read_table()
    while ((getline file < list) > 0) { exists[file] = 1; files[++count] = file }
    if (count < 200) wrong("", 0, "only " count " sources were found")
    for (i = 1; i <= count; i++) {
        file = files[i]
        if (file !~ /^tests\// && !(folder_of(file) in room)) wrong(file, 0, "its folder is no room")
        if (file ~ /[.]def$/) continue
        read_source(file)
        if (file !~ /^(tests|kernels)\// && file ~ /[.][ch]$/) read_functions(file)
        # a parser's functions stand behind its grammar
        if (file ~ /[.][yl]$/ && match(code, /\n%%\n.*\n%%\n/)) { code = substr(code, RSTART + RLENGTH); read_functions(file) }
    }
    for (i = 1; i <= count; i++) if (files[i] ~ /[.]h$/ && files[i] !~ /^(tests|kernels)\//) { look_at_header(files[i]); headers++ }
    for (i = 1; i <= count; i++) if (files[i] ~ /[.]h$/) walk_files(files[i], "")
    for (i = 1; i <= rooms; i++) walk_rooms(room_name[i], "")
    n = 0
    for (key in declares) n += split(declares[key], unused, " ")
    if (n < 250) wrong("", 0, "only " n " declarations were found")
    print count " files, " rooms " rooms, " headers " headers with " n " functions: " failures + 0 " wrong"
    exit failures > 0
}

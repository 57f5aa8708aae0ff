//! What a process calls itself: `service.name` on a bare host.
//!
//! The executable's file name, but for an interpreter or a virtual machine the script, module, jar or class it
//! runs. The rule looks at the executable and the argument vector only, so the same program has the same name
//! whether it was seen to start or found running.

use crate::mask::without_cards;

/// The service name of a program, without card numbers: what the kernel told has none, what `/proc` tells may.
#[must_use]
pub fn service_name(executable: &str, arguments: &[&str]) -> String {
    let executable = executable.strip_suffix(" (deleted)").unwrap_or(executable);
    let rest = arguments.get(1..).unwrap_or_default();
    without_cards(interpreted(executable, rest).unwrap_or_else(|| file_name(executable)))
}

/// What an interpreter runs; `None` for other programs and for an interpreter that reads its standard input
/// or an argument.
fn interpreted<'a>(executable: &str, arguments: &[&'a str]) -> Option<&'a str> {
    let name = file_name(executable);
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    match stem {
        "java" => java(arguments),
        "python" | "pypy" => script(arguments, &["-W", "-X", "--check-hash-based-pycs"], &["-c"], &["-m"]),
        "node" | "nodejs" => {
            script(arguments, &["-r", "--require", "--import", "--loader", "-C"], NODE_CODE, &[])
        }
        "ruby" => script(arguments, &["-I", "-r", "-C", "-E"], &["-e"], &[]),
        "perl" => script(arguments, &["-I"], &["-e", "-E"], &[]),
        "php" => script(arguments, &["-c", "-d", "-z"], &["-r", "-R", "-B", "-E", "-S"], &[]),
        "bash" | "sh" | "dash" | "zsh" | "ksh" => {
            script(arguments, &["-o", "-O", "--rcfile"], &["-c", "-s"], &[])
        }
        "dotnet" => dotnet(arguments),
        _ => None,
    }
}

const NODE_CODE: &[&str] = &["-e", "--eval", "-p", "--print"];

/// The first argument that is no option: `valued` options take the next argument, `code` options mean that
/// there is no file, `module` options name a module.
fn script<'a>(arguments: &[&'a str], valued: &[&str], code: &[&str], module: &[&str]) -> Option<&'a str> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if code.contains(argument) || *argument == "-" {
            return None;
        }
        if module.contains(argument) {
            return arguments.next().copied();
        }
        if valued.contains(argument) {
            arguments.next();
        } else if *argument == "--" {
            return arguments.next().map(|found| file_name(found));
        } else if !argument.starts_with('-') {
            return Some(file_name(argument)).filter(|name| !name.is_empty());
        }
    }
    None
}

/// `java [options] -jar FILE`, `java [options] -m MODULE[/CLASS]`, `java [options] CLASS`.
fn java<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    const VALUED: [&str; 11] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-exports",
        "--add-opens",
        "--add-reads",
        "--enable-native-access",
    ];
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "-jar" => return arguments.next().map(|jar| file_name(jar)),
            "-m" | "--module" => return arguments.next().copied(),
            valued if VALUED.contains(&valued) => {
                arguments.next();
            }
            option if option.starts_with('-') || option.starts_with('@') => {}
            class => return Some(file_name(class)),
        }
    }
    None
}

/// `dotnet [exec] [options] FILE.dll`.
fn dotnet<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    arguments.iter().find(|argument| argument.ends_with(".dll")).map(|dll| file_name(dll))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::service_name;

    #[test]
    fn programs_are_named_by_what_they_run() {
        for (command, name) in [
            ("/usr/sbin/nginx -g daemon", "nginx"),
            ("/usr/bin/python3.11 app.py --port 1", "app.py"),
            ("/usr/bin/python3.11 -u -W ignore /srv/app/main.py", "main.py"),
            ("/usr/bin/python3.11 -m http.server 8000", "http.server"),
            ("/usr/bin/python3.11 /usr/bin/gunicorn app:app", "gunicorn"),
            ("/usr/bin/python3.11 -c pass", "python3.11"),
            ("/usr/bin/python3.11 -", "python3.11"),
            ("/usr/bin/python3.11", "python3.11"),
            ("/usr/bin/node --max-old-space-size=100 -r x.js server.js", "server.js"),
            ("/usr/bin/node -e 1", "node"),
            ("/opt/jdk/bin/java -Xmx1g -jar /srv/pay.jar --spring", "pay.jar"),
            ("/opt/jdk/bin/java -cp /srv/a.jar:/srv/b.jar com.lionpay.Main 8080", "com.lionpay.Main"),
            ("/opt/jdk/bin/java -p mods -m pay/com.lionpay.Main", "pay/com.lionpay.Main"),
            ("/opt/jdk/bin/java Server.java", "Server.java"),
            ("/usr/bin/dotnet exec --depsfile x /app/Pay.Api.dll", "Pay.Api.dll"),
            ("/usr/bin/dotnet run", "dotnet"),
            ("/bin/bash -c x", "bash"),
            ("/bin/bash -e /srv/start.sh", "start.sh"),
        ] {
            let arguments: Vec<_> = command.split(' ').collect();
            assert_eq!(service_name(arguments[0], &arguments), name, "{command}");
        }
        assert_eq!(service_name("/opt/old/api (deleted)", &["api"]), "api");
    }
}

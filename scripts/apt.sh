#!/usr/bin/env bash
# Installs the Debian packages that tests and benchmarks call, if any is missing. Never fails: what needs a missing
# program is skipped there, with its reason. Nothing is asked and no network is used when all is present.
set -uo pipefail

# package, what its absence costs, and how to see that it is here
wanted() {
  have strace || missing strace "tests of failing disks (EIO from fdatasync)"
  have openssl || missing openssl "the page 'verify by hand' and its test"
  have sha256sum && have base64 && have od || missing coreutils "the page 'verify by hand' and its test"
  have wrk || missing wrk "HTTP figures of the benchmark"
  have softhsm2-util || missing softhsm2 "tests of a log key in a token (PKCS #11)"
  have initdb || [ -n "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] \
    || missing postgresql "the PostgreSQL row of the benchmark"
  [ -n "$(ls /usr/lib/postgresql/*/lib/pgaudit.so 2>/dev/null)" ] \
    || missing postgresql-15-pgaudit "tests that read what a real PostgreSQL with pgAudit writes"
  [ -x /usr/sbin/rsyslogd ] || missing rsyslog "tests with a real rsyslog"
  [ -n "$(ls /usr/lib/*/rsyslog/lmnsd_ossl.so 2>/dev/null)" ] || missing rsyslog-openssl "rsyslog over TLS"
  [ -n "$(ls /usr/lib/*/rsyslog/omelasticsearch.so 2>/dev/null)" ] || missing rsyslog-elasticsearch "rsyslog over _bulk"
  [ -x /usr/sbin/syslog-ng ] || [ -x .cache/syslog-ng/usr/sbin/syslog-ng ] \
    || missing syslog-ng-core "tests with a real syslog-ng"
  [ -x /usr/sbin/sshd ] || [ -x .cache/openssh-server/usr/sbin/sshd ] || missing openssh-server "tests with a real sshd"
  have ssh || missing openssh-client "tests with a real sshd"
  have sudo || missing sudo "tests with a real sudo"
  [ -x /usr/lib/systemd/systemd-journald ] || missing systemd "tests with a real journal"
  [ -x /usr/bin/slogverify ] || [ -x .cache/syslog-ng/usr/bin/slogverify ] \
    || missing syslog-ng-mod-slog "syslog-ng in the tamper matrix and the benchmark"
  [ -x /lib/systemd/systemd-journal-remote ] || [ -x .cache/journal-remote/lib/systemd/systemd-journal-remote ] \
    || missing systemd-journal-remote "journald in the tamper matrix"
}
have() { command -v "$1" >/dev/null 2>&1; }
packages=()
costs=()
missing() { packages+=("$1"); costs+=("$1: without it, skipped: $2"); }
without() { echo "apt: $1" >&2; printf '     %s\n' "${costs[@]}" >&2; exit 0; }

wanted
[ ${#packages[@]} -eq 0 ] && exit 0
have apt-get || without "not a Debian system, nothing is installed"
[ "$(id -u)" -eq 0 ] || without "not root; to install them: sudo apt-get install ${packages[*]}"

mkdir -p .cache
log=$PWD/.cache/apt.log
: >"$log"
export DEBIAN_FRONTEND=noninteractive
install() {
  case $1 in
    syslog-ng-core) # Debian lets only one system logger be installed
      install libivykis0 libnet1 libwrap0 libjson-c5 libpcre3
      unpack syslog-ng-core syslog-ng ;;
    openssh-server) # installed, it would listen
      install libwrap0
      unpack openssh-server openssh-server ;;
    syslog-ng-mod-slog) unpack syslog-ng-mod-slog syslog-ng ;;
    systemd-journal-remote) # installed, it would listen; it must be of one version with systemd
      unpack libmicrohttpd12 journal-remote
      unpack "systemd-journal-remote=$(dpkg-query -W -f '${Version}' systemd)" journal-remote ;;
    *) apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null ;;
  esac
}
unpack() { # a package into .cache/, its scripts not run
  (cd .cache && apt-get download "$1" && dpkg-deb -x "${1%%=*}"_*.deb "$2" && rm -f "${1%%=*}"_*.deb) >>"$log" 2>&1
}
started=$SECONDS
apt-get update >>"$log" 2>&1 </dev/null
if [[ " ${packages[*]} " == *" postgresql "* ]] && ! [ -e /etc/postgresql-common/createcluster.conf ]; then
  # The benchmark makes a cluster of its own in a temporary directory; no other is wanted.
  install postgresql-common && sed -i 's/^#\? *create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
fi
for package in "${packages[@]}"; do install "$package" || true; done # one that fails must not take the others with it
asked=("${packages[@]}")
packages=()
costs=()
wanted
echo "apt: ${asked[*]}: $((SECONDS - started)) s"
[ ${#packages[@]} -eq 0 ] || without "could not install ${packages[*]} (see $log)"

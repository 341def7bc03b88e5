#!/bin/sh
# Nothing or flags: serve. One of our verbs: that verb. Anything else runs as given. Never as root.
set -eu

case "${1-}" in
	--help | --version) set -- textflow-mlflow "$@" ;;
	'' | -*) set -- textflow-mlflow serve "$@" ;;
	serve | settings | health) set -- textflow-mlflow "$@" ;;
esac

if [ "$(id -u)" = 0 ]; then
	# The server hands over by itself: it knows which folders the settings name, and owns them first.
	if [ "${1-}" = textflow-mlflow ] && [ "${2-}" = serve ]; then
		shift 2
		set -- textflow-mlflow serve --run-as mlflow "$@"
	else
		set -- setpriv --reuid mlflow --regid mlflow --clear-groups -- "$@"
	fi
fi

# exec, so that the server is process 1 and receives the signals.
exec "$@"

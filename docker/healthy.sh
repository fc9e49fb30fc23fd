#!/bin/sh
# Whether the server of this container answers.
exec python3 -c "import os, urllib.request
urllib.request.urlopen('http://127.0.0.1:' + os.environ.get('ASSAY_PORT', '8000') + '/livez', timeout=4)"

"""Property tests judge what is computed, and never how fast: a busy machine is no defect.

Where CI is set, Hypothesis draws the same examples each time, so that a red build can be repeated; elsewhere it goes on
looking for new ones.
"""

import os

from hypothesis import settings

settings.register_profile("untimed", settings.get_profile("ci" if os.environ.get("CI") else "default"), deadline=None)
settings.load_profile("untimed")

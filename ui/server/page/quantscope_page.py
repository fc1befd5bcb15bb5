"""What Streamlit runs for every browser session, again and again."""

from quantscope.ui.app import main

main()

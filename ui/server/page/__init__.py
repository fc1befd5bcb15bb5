"""The script that Streamlit runs, alone in its folder: Streamlit puts that folder on the import path."""

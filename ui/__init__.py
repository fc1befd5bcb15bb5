"""The Streamlit app, its figures and the command line of QuantScope."""

import evaluate
from evaluate.utils import launch_gradio_widget


module = evaluate.load("personalized_preference")
launch_gradio_widget(module)

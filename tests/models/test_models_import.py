import subprocess
import sys


def test_models_need_neither_data_libraries_nor_torch():
    code = (
        "import sys, jaxreid.models; "
        "print({name.partition('.')[0] for name in sys.modules} "
        "& {'grain', 'tensorflow_datasets', 'array_record', 'torch'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
